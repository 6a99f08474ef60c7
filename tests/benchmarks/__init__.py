"""How fast Serinus is, against a server that does nothing else and against bare BentoML; see README.md."""
