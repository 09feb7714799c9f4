"""Build hook: puts the compiled bundle into the wheel."""

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class BundleHook(BuildHookInterface):  # type: ignore[misc,type-arg]  # hatchling is there only while a wheel is built
    """Compiles data/ for a wheel; an editable install reads the checkout's files."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable":
            return
        root = Path(self.root)
        sys.path.insert(0, str(root / "src"))
        from runlocal.catalog.compile import write

        self._folder = tempfile.mkdtemp(prefix="runlocal-bundle-")
        write(root / "data", Path(self._folder))
        build_data["force_include"][self._folder] = "runlocal/bundle"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        shutil.rmtree(getattr(self, "_folder", ""), ignore_errors=True)
