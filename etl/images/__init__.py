"""Images to metadata and thumbnails. May import what `sync` may, except `read`."""
