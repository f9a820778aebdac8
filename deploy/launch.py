"""What Dataflow's template launcher runs in our image: the embed command, with the template's parameters as flags."""

import os
import re
import sys
from collections.abc import Sequence

from pipeline.__main__ import main


def command_line(parameters: Sequence[str], image: str) -> list[str]:
    """The words of the embed command: workers run in the launcher's own image, unless another one is named.

    The launcher passes what its caller left empty as `--NAME=`.
    """
    is_named = any(re.match("--sdk_container_image(=.|$)", word) for word in parameters)
    return ["embed", *parameters, *([] if is_named or not image else [f"--sdk_container_image={image}"])]


if __name__ == "__main__":
    sys.exit(main(command_line(sys.argv[1:], os.environ.get("YAMNET_BEAM_IMAGE", ""))))
