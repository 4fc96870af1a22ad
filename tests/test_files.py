"""Checks that the files shipped for the tests are those listed in tests/files/README.md."""

import hashlib
import re

MOST_BYTES = 5_000_000


def test_the_readme_has_the_digest_of_each_file(files):
    text = (files / "README.md").read_text()
    listed = dict(re.findall(r"^\| `(.+?)` \|.+\| `(\w{64})` \|$", text, flags=re.MULTILINE))
    shipped = [path for path in files.rglob("*") if path.is_file() and path.name != "README.md"]
    digests = {
        str(path.relative_to(files)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in shipped
    }
    assert digests == listed
    assert 0 < sum(path.stat().st_size for path in shipped) <= MOST_BYTES
