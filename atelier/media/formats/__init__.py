"""What files of pictures say and how: colours, depth, EXIF, TIFF, animations."""
