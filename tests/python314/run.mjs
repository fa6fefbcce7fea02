// Runs the core's tests on CPython 3.14 (WebAssembly): node run.mjs PYODIDE ROOT SITE_PACKAGES
import { pathToFileURL } from "node:url";
const [folder, root, site] = process.argv.slice(2);
const { loadPyodide } = await import(pathToFileURL(`${folder}/pyodide.mjs`));
const python = await loadPyodide();
python.mountNodeFS("/root", root);
python.mountNodeFS("/site", site);
// Inside a task of another loop, on purpose: that is what 3.14 forbids without care.
const code = await python.runPythonAsync(`
import asyncio, os, sys
assert sys.version_info >= (3, 14) and asyncio.current_task() is not None
# Of the packages only what is pure Python; msgspec comes from the stand-in.
for path in ("/root/tests", "/root/runtime", "/root/backends", "/root/dsl", "/site", "/root/tests/python314/shim"):
    sys.path.insert(0, path)
os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
os.chdir("/root")
import pytest
int(pytest.main([
    "-q", "--override-ini=addopts=", "--override-ini=timeout=0", "-p", "no:cacheprovider",
    "--override-ini=filterwarnings=default", "--rootdir=/root", "--import-mode=importlib",
    "tests/core", "-m", "not slow", "-k", "not imports and not cpython",
    "-W", "ignore::pytest.PytestConfigWarning", "-W", "ignore::pytest.PytestUnknownMarkWarning",
]))
`);
process.exit(code);
