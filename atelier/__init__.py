"""The ground floor: what all of Atelier's tasks share."""

import os
import sys
import tempfile


def _import_tensorflow_quietly() -> None:
    """Imports TensorFlow without the dozen lines that it writes past Python to standard error.

    They name its build options and missing CUDA drivers, and no log level silences them. They are
    shown after all if the import fails.
    """
    try:
        kept = os.dup(2)
    except OSError:  # Standard error is closed: TensorFlow may say what it likes.
        return
    if sys.stderr is not None:
        sys.stderr.flush()
    with tempfile.TemporaryFile() as said:
        os.dup2(said.fileno(), 2)
        try:
            import tensorflow as tf

            tf.config.list_physical_devices("GPU")  # Says what it has to say about CUDA.
        except BaseException:
            said.seek(0)
            os.write(kept, said.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)


# Of what TensorFlow says later on, errors are for users; warnings are about its own estimates.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
_import_tensorflow_quietly()
