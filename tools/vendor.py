"""Fetch the front-end files named in vendor.toml, or with --check compare those in static/vendor with it, offline.

Steps for each package: `npm pack` it, check the archive against the package's sha512, take the listed files without
their source map line, check each one's sha256, write them all. Nothing is written when a hash differs.
"""

import argparse
import base64
import hashlib
import re
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCE_MAP = re.compile(rb"\s*/[/*]# sourceMappingURL=\S+(\s*\*/)?\s*$")  # the map is not shipped


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare the files on disk, fetch nothing")
    check_only = parser.parse_args().check
    wrong = []
    for package in tomllib.loads((ROOT / "vendor.toml").read_text())["package"]:
        folder = target_folder(package)
        files = read_folder(folder, package) if check_only else fetch(package)
        differing = differences(package, files)
        wrong += differing
        if not check_only and not differing:
            write(folder, files)
    wrong += [] if wrong else unlisted()
    print("\n".join(wrong) or "static/vendor is as vendor.toml says.")
    return 1 if wrong else 0


def target_folder(package: dict) -> Path:
    """static/vendor/<name>-<version>, a scope's slash as a dash."""
    return ROOT / "static" / "vendor" / f"{package['name'].lstrip('@').replace('/', '-')}-{package['version']}"


def read_folder(folder: Path, package: dict) -> dict[str, bytes]:
    paths = {source: folder / Path(source).name for source in package["files"]}
    return {source: path.read_bytes() for source, path in paths.items() if path.exists()}


def fetch(package: dict) -> dict[str, bytes]:
    """Return the package's listed files by their path in it. Raises ValueError if the archive's hash is another."""
    with tempfile.TemporaryDirectory() as folder:
        wanted = f"{package['name']}@{package['version']}"
        subprocess.run(["npm", "pack", wanted, "--pack-destination", folder], check=True, capture_output=True)
        archive = next(Path(folder).glob("*.tgz"))
        found = "sha512-" + base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
        if found != package["integrity"]:
            raise ValueError(f"{wanted} has {found}, vendor.toml says {package['integrity']}")
        with tarfile.open(archive) as tar:
            return {source: SOURCE_MAP.sub(b"\n", member_bytes(tar, source)) for source in package["files"]}


def member_bytes(tar: tarfile.TarFile, source: str) -> bytes:
    member = tar.extractfile(f"package/{source}")
    if member is None:
        raise ValueError(f"{source} is not a file in the package")
    return member.read()


def differences(package: dict, files: dict[str, bytes]) -> list[str]:
    """Return one line per listed file that is missing or has another sha256."""
    lines = []
    for source, wanted in package["files"].items():
        found = hashlib.sha256(files[source]).hexdigest() if source in files else "missing"
        if found != wanted:
            lines.append(f"{package['name']} {source}: {found}, vendor.toml says {wanted or 'nothing'}")
    return lines


def write(folder: Path, files: dict[str, bytes]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for source, content in files.items():
        (folder / Path(source).name).write_bytes(content)


def unlisted() -> list[str]:
    """Return one line per file under static/vendor that no package of vendor.toml lists."""
    packages = tomllib.loads((ROOT / "vendor.toml").read_text())["package"]
    listed = {target_folder(package) / Path(source).name for package in packages for source in package["files"]}
    present = {path for path in (ROOT / "static" / "vendor").rglob("*") if path.is_file()}
    return [f"{path.relative_to(ROOT)} is not in vendor.toml" for path in sorted(present - listed)]


if __name__ == "__main__":
    sys.exit(main())
