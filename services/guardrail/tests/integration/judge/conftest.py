"""The toolkit's maker of certificates serves here too."""

import sys
from pathlib import Path

CHECKOUT = str(Path(__file__).resolve().parents[5])
if CHECKOUT not in sys.path:
    sys.path.append(CHECKOUT)
