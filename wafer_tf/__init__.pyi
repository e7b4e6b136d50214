from wafer_tf.dies import CLASSES as CLASSES
from wafer_tf.errors import WaferError as WaferError
from wafer_tf.model import Model as Model
from wafer_tf.model import load as load
from wafer_tf.readers import read as read
from wafer_tf.showing import show as show
from wafer_tf.synthesis import synthesize as synthesize
from wafer_tf.version import __version__ as __version__
from wafer_tf.waferset import Wafer as Wafer
from wafer_tf.waferset import WaferSet as WaferSet

__all__: list[str]
