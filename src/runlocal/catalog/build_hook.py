"""Build hook: puts the compiled bundle into the wheel, and what every model takes."""

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
        from runlocal.catalog import bundle, kept
        from runlocal.catalog.compile import write
        from runlocal.solve.tables import tables

        self._folder = tempfile.mkdtemp(prefix="runlocal-bundle-")
        made, loads = Path(self._folder, "bundle"), Path(self._folder, "loads")
        for folder in (made, loads):
            folder.mkdir()
        write(root / "data", made)
        bundle.use(str(made))
        kept.write(tables(), str(loads))
        build_data["force_include"] |= {str(made): "runlocal/bundle", str(loads): "runlocal/loads"}

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        shutil.rmtree(getattr(self, "_folder", ""), ignore_errors=True)
