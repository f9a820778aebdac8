"""On PYTHONPATH, makes a process as it is where the peer's libraries are not installed.

librosa brings scikit-learn, and TensorFlow's packages import that wherever they find it: 60 MB and a second that users
of ours alone do not pay. Child processes inherit the path, and with it this.
"""

import sys

sys.modules["sklearn"] = None  # type: ignore[assignment]
