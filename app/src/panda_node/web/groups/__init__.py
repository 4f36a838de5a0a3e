"""The methods of the API, a module for each group: function `x` of module `y` is /api/v1/y/x."""
