"""Everything of a worker that carries what a command writes; knows neither Redis nor processes."""
