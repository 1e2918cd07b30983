FIXED = {"float64": (), "float32": ()}
