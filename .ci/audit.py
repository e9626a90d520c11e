# SPDX-License-Identifier: Apache-2.0
"""Check the pinned dependencies for known vulnerabilities: `make audit`.

The exit status is 1 if a vulnerability is known. If the database cannot be reached, nothing is audited and the output
says so.
"""

import json
import subprocess
import sys
from pathlib import Path

LOCK = Path(__file__).parent.parent / "requirements.lock"

command = [sys.executable, "-m", "pip_audit", "--format=json", "--disable-pip", "--require-hashes"]
done = subprocess.run([*command, "--requirement", str(LOCK)], capture_output=True, text=True, check=False)  # noqa: S603
try:
    dependencies = json.loads(done.stdout)["dependencies"]
except ValueError:
    sys.exit(f"pip-audit failed:\n{done.stderr}")

audited = [found for found in dependencies if "skip_reason" not in found]
vulnerable = [found for found in audited if found["vulns"]]
for found in vulnerable:
    for vulnerability in found["vulns"]:
        fixed = ", ".join(vulnerability["fix_versions"]) or "no release"
        sys.stdout.write(f"{found['name']} {found['version']}: {vulnerability['id']}, fixed in {fixed}\n")
if not audited:
    sys.stdout.write(f"Could not reach the vulnerability database: audited none of {len(dependencies)} dependencies.\n")
else:
    sys.stdout.write(f"Audited {len(audited)} of {len(dependencies)} dependencies: {len(vulnerable)} vulnerable.\n")
sys.exit(1 if vulnerable else 0)
