"""Rows as every reader returns them: cells by column, with the key and line of each row.

layout    columns and limits of a dataset    header    column names of a file -> its columns
collect   rows and problems as they are      repeated  headers within the rows
          found                              notices   warnings, one per code and file
storable  cells that PostgreSQL rejects      table     blocks of cells -> columns of the dataset
extract   the result
"""
