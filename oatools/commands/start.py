"""How the commands start: each of these is what a shell runs by the name `oa-NAME`.

A command is interrupted in order as early as that: it is imported here, after Python has been told
what an interrupt does.
"""

import importlib
from collections.abc import Callable

from oatools.core.signals import ENDED, end_at_once, leave


def _start(name: str) -> Callable[[], None]:
    def start() -> None:
        end_at_once(f"oa-{name}")
        try:
            importlib.import_module(f"oatools.commands.{name}").main()
        except SystemExit as end:
            if end.code in ENDED:
                leave(end.code)
            raise

    return start


cam = _start("cam")
check = _start("check")
convert = _start("convert")
cv = _start("cv")
doctor = _start("doctor")
embed = _start("embed")
enrich = _start("enrich")
info = _start("info")
label = _start("label")
n4 = _start("n4")
orient = _start("orient")
pairs = _start("pairs")
phantom = _start("phantom")
predict = _start("predict")
train = _start("train")
validate = _start("validate")
view = _start("view")
