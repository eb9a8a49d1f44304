"""What fbgemm, qnnpack, onednn and x86 share: adapter, float op table, lowering, artifact, rules."""
