"""The engines that carry out the functions of the API."""
