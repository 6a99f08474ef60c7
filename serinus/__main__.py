"""`python -m serinus` is the `serinus` command."""

from serinus.serving.cli import main

if __name__ == "__main__":
    main()
