"""`python -m imagehaul` is the command."""

from imagehaul.cli.command import main

if __name__ == "__main__":
    main()
