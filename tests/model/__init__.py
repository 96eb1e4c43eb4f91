"""The real reconcile code against a model of S3, of the API server and of the nodes, in which anything may go wrong.

``store`` and ``cluster`` are the two servers, ``wire`` is what may happen to each call on its way to
them, ``world`` is everything together with what must hold of it, ``test_machine`` lets Hypothesis
choose what happens next.
"""
