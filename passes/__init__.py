"""The concrete passes, one per file. Import this package as ``qcompiler.passes``."""

if __name__ != "qcompiler.passes":
    raise ImportError(
        f"the folder passes/ is the package qcompiler.passes, not {__name__}: "
        "write `import qcompiler.passes`"
    )
