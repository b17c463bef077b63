"""How fast a configuration trains here, and where its time goes."""
