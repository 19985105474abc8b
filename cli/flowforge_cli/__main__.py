"""`python -m flowforge_cli`: the same as the console script; how worker processes start more of their kind."""

from flowforge_cli.app import main

if __name__ == "__main__":
    main()
