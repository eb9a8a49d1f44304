"""Programs as fx.GraphModules: one table of operators, one walk, and a strategy of the user's.

`lowering.lower_graph` walks a graph; `strategy.Strategy` decides how constants, quantized regions
and values become nodes; `ops.table` has the torch function of every operator.
"""
