"""Keep Streamlit from two things it does at every click, each of which costs a loaded TensorFlow 300 ms.

Before each run of the page Streamlit calls `keras.backend.clear_session` where Keras is loaded, to free the memory of
models that scripts build anew each time (streamlit/runtime/scriptrunner). At that TensorFlow forgets how it optimized
every compiled graph. The page builds its models once and keeps them; no setting turns the call off, so it is made to do
nothing in this process. And Streamlit collects garbage among all objects, of which those loaded by now stay anyway.
"""

import gc


def quicken() -> None:
    """Do so from now on; to be called when all models are built."""
    import keras

    keras.backend.clear_session = _keep_session
    gc.freeze()


def _keep_session() -> None:
    """Stand in for `keras.backend.clear_session`."""
