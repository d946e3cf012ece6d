"""``python -m nbray.as_ray SCRIPT ARGUMENTS...`` runs a program written for Ray on nbray, unchanged."""

from __future__ import annotations

import sys

from nbray._as_ray import as_ray, run, run_again

if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("usage: python -m nbray.as_ray SCRIPT ARGUMENTS...")
    run(sys.argv[1], sys.argv[2:])
elif __name__ == "__mp_main__":
    run_again(globals())
else:
    # ``nbray.as_ray`` is the function, also after this module was imported.
    sys.modules[__name__] = as_ray  # type: ignore[assignment]
