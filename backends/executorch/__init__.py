"""ExecuTorch with the XNNPACK delegate: `.pte` programs, the successor of qnnpack."""
