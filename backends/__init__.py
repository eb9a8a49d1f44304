"""The concrete targets, one per file or folder. Import this package as ``qcompiler.backends``."""

if __name__ != "qcompiler.backends":
    raise ImportError(
        f"the folder backends/ is the package qcompiler.backends, not {__name__}: "
        "write `import qcompiler.backends`"
    )
