"""What people look at: TensorBoard, tables, plots, pages, pictures of what a model does."""
