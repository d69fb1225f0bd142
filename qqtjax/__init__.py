"""qqtjax: which data should I train on for my compute budget, and how sure am I?"""
