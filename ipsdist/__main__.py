"""`python -m ipsdist`, the same as the command `ipsdist`."""

if __name__ == "__main__":
    # Not above: worker processes import this module too.
    import sys

    from ipsdist.cli.app import main

    sys.exit(main())
