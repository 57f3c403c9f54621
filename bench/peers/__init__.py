"""actrio beside other agent libraries at the same work: ``python -m bench.peers``.

A client program of `bench.peers.clients` runs in its library's own environment and imports only
`harness` and `work` from here, which need nothing but the standard library.
"""
