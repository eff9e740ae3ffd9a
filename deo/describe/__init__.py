"""What files of features and models say of themselves, under the field's specifications."""
