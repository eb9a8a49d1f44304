"""What fbgemm, qnnpack, onednn and x86 share: adapter, op table, lowering, artifact, rules."""
