"""Runs a test program for WebAssembly: python wasi.py PROGRAM.wasm ARGUMENTS; its exit code is passed on."""
import sys

import wasmtime

engine = wasmtime.Engine()
store, linker = wasmtime.Store(engine), wasmtime.Linker(engine)
linker.define_wasi()
wasi = wasmtime.WasiConfig()
# WASI has no threads: tests run one after the other.
wasi.argv = [*sys.argv[1:], "--test-threads", "1"]
wasi.inherit_stdout()
wasi.inherit_stderr()
wasi.inherit_env()
store.set_wasi(wasi)
instance = linker.instantiate(store, wasmtime.Module.from_file(engine, sys.argv[1]))
try:
    instance.exports(store)["_start"](store)
except wasmtime.ExitTrap as exit:
    sys.exit(exit.code)
