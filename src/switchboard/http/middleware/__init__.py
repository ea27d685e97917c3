"""The middleware of the way in, one each file; `http.stack` puts them in order."""
