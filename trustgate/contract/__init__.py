"""Contract is agreed: the types, ports and hook specifications that every part shares. It imports nothing of ours."""
