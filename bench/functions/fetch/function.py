"""Never called: only the initscript of this function is measured."""
