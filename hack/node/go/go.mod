// The two programs that a node on this machine needs of us; they use the standard library alone.
module access-gate.invalid/node

go 1.26.0
