"""The engine of a server elsewhere: `semsearch serve` as a home, `http://host:port` or `unix:PATH`."""
