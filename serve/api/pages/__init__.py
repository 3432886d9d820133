"""The pages: what a browser sees of the API. Plain HTML, CSS and JavaScript modules, without a build step."""
