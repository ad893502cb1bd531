"""How servers are reached that are not servers over HTTP: each looks like one to whoever asks."""
