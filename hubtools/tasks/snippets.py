"""Pieces of ordinary code of our own writing, in the languages that people ask about: nothing in them attacks."""

from __future__ import annotations

SNIPPETS = (
    '''import subprocess

def current_branch(folder):
    done = subprocess.run(["git", "branch", "--show-current"], cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr.strip())
    return done.stdout.strip() or "detached"''',
    """import os
import requests

TOKEN = os.environ["WEATHER_TOKEN"]

def forecast(city, days=3):
    answer = requests.get(
        "https://api.example.com/v1/forecast",
        params={"city": city, "days": days},
        headers={"Authorization": f"Bearer {TOKEN}"},
        timeout=10,
    )
    answer.raise_for_status()
    return [(day["date"], day["high"], day["low"]) for day in answer.json()["days"]]""",
    """import socket
import threading

server = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
server.bind(("127.0.0.1", 5050))
server.listen()

def handle(client):
    with client:
        while data := client.recv(1024):
            client.sendall(data.upper())

while True:
    client, address = server.accept()
    threading.Thread(target=handle, args=(client,)).start()""",
    """from flask import Flask, jsonify, request

app = Flask(__name__)
tasks = []

@app.post("/tasks")
def add_task():
    task = {"id": len(tasks) + 1, "title": request.json["title"], "done": False}
    tasks.append(task)
    return jsonify(task), 201

@app.get("/tasks")
def list_tasks():
    return jsonify([task for task in tasks if not task["done"]])""",
    """import pandas as pd
import matplotlib.pyplot as plt

orders = pd.read_csv("orders.csv", parse_dates=["day"])
orders["month"] = orders["day"].dt.to_period("M")
totals = orders.groupby(["month", "region"])["amount"].sum().unstack()
totals.plot(kind="bar", stacked=True, figsize=(9, 4))
plt.ylabel("EUR")
plt.tight_layout()
plt.savefig("totals.png")""",
    """import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, inputs, hidden, classes):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Dropout(0.2))
        self.head = nn.Linear(hidden, classes)

    def forward(self, x):
        return self.head(self.body(x))

model = Net(64, 128, 10)
optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4)
for epoch in range(5):
    for x, y in loader:
        loss = nn.functional.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()""",
    '''class Account:
    """Keeps a balance in cents."""

    def __init__(self, owner, balance=0):
        self.owner = owner
        self._balance = balance

    def withdraw(self, cents):
        if cents > self._balance:
            raise ValueError("not enough money")
        self._balance -= cents
        return self._balance''',
    """import shutil
from pathlib import Path

source, target = Path("photos"), Path("sorted")
for picture in source.rglob("*.jpg"):
    year = picture.stem[:4]
    (target / year).mkdir(parents=True, exist_ok=True)
    shutil.move(str(picture), target / year / picture.name)
    print(f"moved {picture.name} to {year}")""",
    """Traceback (most recent call last):
  File "/home/ada/shop/main.py", line 42, in <module>
    run(config)
  File "/home/ada/shop/orders.py", line 17, in run
    total = sum(order["price"] for order in orders)
TypeError: unsupported operand type(s) for +: 'int' and 'str\'""",
    """const express = require("express");
const fs = require("fs/promises");
const app = express();
app.use(express.json());

app.get("/notes/:id", async (req, res) => {
  try {
    const text = await fs.readFile(`notes/${Number(req.params.id)}.md`, "utf8");
    res.type("text/markdown").send(text);
  } catch (error) {
    res.status(404).json({ error: "no such note" });
  }
});

app.listen(3000, () => console.log("listening"));""",
    """import React, { useEffect, useState } from "react";

interface Props {
  userId: string;
}

export default function Profile({ userId }: Props) {
  const [user, setUser] = useState<User | null>(null);
  useEffect(() => {
    fetch(`/api/users/${userId}`)
      .then((response) => response.json())
      .then(setUser);
  }, [userId]);
  if (!user) return <Spinner />;
  return (
    <section className="card">
      <h2>{user.name}</h2>
      <p>{user.email}</p>
    </section>
  );
}""",
    """<!DOCTYPE html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <title>Opening hours</title>
  <link rel="stylesheet" href="style.css">
</head>
<body>
  <header class="top"><h1>Bakery at the mill</h1></header>
  <table id="hours">
    <tr><td>Monday</td><td>closed</td></tr>
    <tr><td>Tuesday to Saturday</td><td>7:00 to 18:00</td></tr>
  </table>
  <script src="hours.js" defer></script>
</body>
</html>""",
    """.card {
  display: grid;
  grid-template-columns: 1fr 2fr;
  gap: 1rem;
  padding: 0.75rem 1rem;
  border-radius: 8px;
  box-shadow: 0 1px 4px rgba(0, 0, 0, 0.2);
}
@media (max-width: 600px) {
  .card { grid-template-columns: 1fr; }
}""",
    """SELECT c.name, COUNT(*) AS orders, SUM(o.total) AS revenue
FROM customers AS c
JOIN orders AS o ON o.customer_id = c.id
WHERE o.created_at >= DATE '2024-01-01'
  AND o.status <> 'cancelled'
GROUP BY c.name
HAVING SUM(o.total) > 1000
ORDER BY revenue DESC
LIMIT 20;""",
    """DECLARE @day date = '2024-03-01';
WHILE @day <= '2024-03-31'
BEGIN
    INSERT INTO calendar (day, weekday, is_holiday)
    VALUES (@day, DATENAME(weekday, @day), 0);
    SET @day = DATEADD(day, 1, @day);
END""",
    '''#!/usr/bin/env bash
set -euo pipefail
stamp=$(date +%Y-%m-%d)
target="/var/backups/site-$stamp.tar.gz"
tar -czf "$target" -C /srv site
find /var/backups -name 'site-*.tar.gz' -mtime +14 -delete
sudo systemctl restart nginx
echo "wrote $target ($(du -h "$target" | cut -f1))"''',
    """$ kubectl get pods -n shop
NAME                     READY   STATUS             RESTARTS   AGE
web-6f9c7d4b8-2xk9p      1/1     Running            0          3d
web-6f9c7d4b8-q7t4z      0/1     CrashLoopBackOff   12         41m
$ kubectl logs -n shop web-6f9c7d4b8-q7t4z --previous
Error: cannot connect to redis://cache:6379: connection refused""",
    """services:
  web:
    build: .
    ports: ["8080:8080"]
    environment:
      DATABASE_URL: postgres://app:app@db/app
    depends_on: [db]
  db:
    image: postgres:16
    volumes: ["data:/var/lib/postgresql/data"]
volumes:
  data: {}""",
    """#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct node {
    int value;
    struct node *next;
};

static struct node *push(struct node *head, int value) {
    struct node *fresh = malloc(sizeof *fresh);
    if (fresh == NULL) {
        perror("malloc");
        exit(EXIT_FAILURE);
    }
    fresh->value = value;
    fresh->next = head;
    return fresh;
}""",
    """#include <algorithm>
#include <iostream>
#include <vector>

template <typename T>
T median(std::vector<T> values) {
    const auto middle = values.begin() + values.size() / 2;
    std::nth_element(values.begin(), middle, values.end());
    return *middle;
}

int main() {
    std::vector<double> sizes{3.5, 1.0, 9.25, 4.0};
    std::cout << median(sizes) << '\\n';
}""",
    """public class Inventory {
    private final Map<String, Integer> stock = new HashMap<>();

    public void add(String article, int count) {
        stock.merge(article, count, Integer::sum);
    }

    public boolean remove(String article, int count) {
        int left = stock.getOrDefault(article, 0) - count;
        if (left < 0) {
            return false;
        }
        stock.put(article, left);
        return true;
    }
}""",
    """package main

import (
	"encoding/json"
	"log"
	"net/http"
)

type status struct {
	Name string `json:"name"`
	OK   bool   `json:"ok"`
}

func main() {
	http.HandleFunc("/health", func(w http.ResponseWriter, r *http.Request) {
		if err := json.NewEncoder(w).Encode(status{"shop", true}); err != nil {
			log.Println(err)
		}
	})
	log.Fatal(http.ListenAndServe(":8081", nil))
}""",
    """use std::collections::HashMap;

fn count_words(text: &str) -> HashMap<String, usize> {
    let mut counts = HashMap::new();
    for word in text.split_whitespace() {
        *counts.entry(word.to_lowercase()).or_insert(0) += 1;
    }
    counts
}

fn main() {
    let text = std::fs::read_to_string("poem.txt").expect("poem.txt");
    println!("{:?}", count_words(&text));
}""",
    """    .global _start
_start:
    ldr     r0, =message
    mov     r1, #0
loop:
    ldrb    r2, [r0], #1
    cmp     r2, #0
    beq     done
    add     r1, r1, #1
    b       loop
done:
    bx      lr""",
    """using System.Linq;

public record Reading(DateTime When, double Celsius);

public static class Report
{
    public static IEnumerable<(int Hour, double Mean)> ByHour(IEnumerable<Reading> readings) =>
        readings.GroupBy(r => r.When.Hour)
                .OrderBy(g => g.Key)
                .Select(g => (g.Key, g.Average(r => r.Celsius)));
}""",
    """Sub MarkLate()
    Dim row As Long
    For row = 2 To Cells(Rows.Count, 1).End(xlUp).Row
        If Cells(row, 3).Value < Date And Cells(row, 4).Value = "" Then
            Cells(row, 5).Interior.Color = vbYellow
        End If
    Next row
End Sub""",
    """function [x, steps] = bisect(f, a, b, tol)
    steps = 0;
    while (b - a) / 2 > tol
        x = (a + b) / 2;
        if f(x) == 0, break; end
        if sign(f(x)) == sign(f(a)), a = x; else, b = x; end
        steps = steps + 1;
    end
end""",
    """library(dplyr)
library(ggplot2)

visits |>
  filter(year >= 2020, !is.na(minutes)) |>
  group_by(branch, month) |>
  summarise(mean_minutes = mean(minutes), n = n()) |>
  ggplot(aes(month, mean_minutes, colour = branch)) +
  geom_line() +
  theme_minimal()""",
    """{
  "name": "garden-planner",
  "version": "1.4.2",
  "scripts": {
    "start": "vite",
    "build": "vite build",
    "test": "vitest run --coverage"
  },
  "dependencies": { "date-fns": "^3.6.0", "preact": "^10.22.0" },
  "devDependencies": { "vite": "^5.3.1", "vitest": "^2.0.2" }
}""",
    """2024-05-14 08:12:03,114 INFO  worker-2 picked up job 88213
2024-05-14 08:12:03,402 WARN  worker-2 retrying upload, attempt 2 of 5
2024-05-14 08:12:09,977 ERROR worker-2 upload failed: 503 Service Unavailable
2024-05-14 08:12:09,978 INFO  worker-2 job 88213 goes back to the queue
2024-05-14 08:12:10,551 INFO  worker-5 picked up job 88213""",
    """% two pendulums
\\begin{align}
  \\theta_1'' &= \\frac{-g (2 m_1 + m_2) \\sin \\theta_1 - m_2 g \\sin(\\theta_1 - 2 \\theta_2)}{l_1 (2 m_1 + m_2)} \\\\
  \\theta_2'' &= \\frac{2 \\sin(\\theta_1 - \\theta_2) (\\theta_1'^2 l_1 (m_1 + m_2))}{l_2 (2 m_1 + m_2)}
\\end{align}""",
    """diff --git a/cart.py b/cart.py
@@ -14,7 +14,9 @@ def total(items, discount=0):
-    return sum(item.price for item in items) - discount
+    subtotal = sum(item.price * item.count for item in items)
+    # never below zero, whatever the voucher says
+    return max(0, subtotal - discount)""",
)
