"""What commands show and leave: records, tables, figures and the page."""
