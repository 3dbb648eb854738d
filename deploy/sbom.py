"""The bill of materials of the service, CycloneDX: `make sbom` writes sbom.json.

Of what is installed, with what the service brings alone: a checkout's environment has the tools of
its development too.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name

from deploy.licences import ROOT, closure, pinned

# Its own check of what it writes takes ten times as long as the rest.
_COMMAND = "environment --pyproject pyproject.toml --mc-type application --no-validate"


def bill_of_materials() -> dict[str, Any]:
    """Return what the service consists of, as a CycloneDX document."""
    program = Path(sys.executable).with_name("cyclonedx-py")
    asked = [str(program), *_COMMAND.split(), "--output-format", "JSON", sys.executable]
    answer = subprocess.run(asked, cwd=ROOT, check=True, capture_output=True)
    bill: dict[str, Any] = json.loads(answer.stdout)
    names = closure(pinned("requirements.txt"))
    kept = [one for one in bill["components"] if canonicalize_name(one["name"]) in names]
    known = {one["bom-ref"] for one in [bill["metadata"]["component"], *kept]}
    needs = [one for one in bill["dependencies"] if one["ref"] in known]
    for one in needs:
        if "dependsOn" in one:
            one["dependsOn"] = [need for need in one["dependsOn"] if need in known]
    return bill | {"components": kept, "dependencies": needs}


if __name__ == "__main__":
    text = json.dumps(bill_of_materials(), ensure_ascii=False, indent=2)
    (ROOT / "sbom.json").write_text(text + "\n", "utf-8")
