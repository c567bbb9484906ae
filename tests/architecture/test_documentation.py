"""Pages made from the source are current."""

import subprocess
import sys

from tests.architecture.sources import ROOT


class TestConfigurationPage:
    def test_is_what_bin_docs_writes(self) -> None:
        done = subprocess.run([sys.executable, "bin/docs", "--check"], cwd=ROOT, check=False)

        assert done.returncode == 0, "run bin/docs"
