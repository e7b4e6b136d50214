"""A pickled table as it lies on disk, mapped into memory, with what reading it may take."""

import mmap

from wafer_tf.budget import Budget


class Mapped(mmap.mmap):
    """The bytes of a file, and the budget that all who read them count on."""

    budget: Budget
