module plantao

go 1.26
