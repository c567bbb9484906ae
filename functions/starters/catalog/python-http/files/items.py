ITEMS = [
    {"id": 1, "name": "lamp"},
    {"id": 2, "name": "teapot"},
    {"id": 3, "name": "umbrella"},
]
