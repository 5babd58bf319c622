"""Which of the eight intents a function is, by its name; and which requests a function could serve.

A name is looked up in a versioned table. Rules over its words decide where the table does not have it.

The table holds every function of the Glaive sample and those tools of MetaTool whose requests are of one kind. The
full sources have thousands of names that nobody has looked at: rules decide those they can, and the rest is dropped
and counted. A wrong guess would teach the model, a dropped row costs little.
"""

from __future__ import annotations

import re

TABLE_VERSION = "2"  # part of the task's version: a change makes the dataset anew

AMBIGUOUS = "ambiguous"

# Whatever the label is, a name stands here once it has been looked at together with its requests. "ambiguous" drops
# the row: the requests of such a function are of several kinds, or of none of the eight.
_NAMES: dict[str, str] = {
    "information_retrieval": """
        check_email_availability check_website_availability check_word_definition fetch_news find_closest_restaurant
        find_movie_details find_nearby_places find_nearby_restaurants find_nearest_gas_station find_nearest_park
        find_restaurant find_shopping_mall get_available_flights get_definition get_flight_status get_movie_details
        get_movie_recommendations get_news get_news_articles get_news_headlines get_population get_quotes
        get_random_fact get_random_quote get_recipe get_song_lyrics get_stock_price get_stock_prices search_book
        search_books search_contacts search_hotels search_images search_jobs search_movie search_movies search_music
        search_news search_photos search_product search_recipe search_recipes search_restaurant search_restaurants
        search_song track_package

        agones airqualityforeast apex_map art_collection asset_ovi aus_petrol_prices aus_surf_report blockatlas
        brandfetch broadway c3_glide clinical_trial_radar company_info_tool crane_pumps_manuals earthquake_tool
        find_agency fundsdbsearch gif_api hacktrack haulingbuddies hdbcarpark house_purchasing_tool house_renting_tool
        image_search keyplays_football korea_subway locator ndricks_sports_api news_tool now ph_ai_news_query
        product_search quiver_quantitative recipe_retrieval research_finder sakenowa saspeed_cameras smarttsicketsai
        socialsearch stellarexplorer supercharge_my_ev themeparkhipster timemachine uberchord uk_politics urltool
        weather_tool web_rewind what_to_watch wpinteract
    """,
    "data_transformation": """
        convert_currency convert_temperature encrypt_text generate_barcode generate_password generate_qr_code
        generate_random_name generate_random_number generate_random_password generate_username get_random_number
        get_translation translate_text

        abc_to_audio create_qr_code diceroller figlet media_modify_tool qreator speechki_tts_plugin
    """,
    "calculation": """
        calculate_age calculate_age_difference calculate_area calculate_average calculate_bmi calculate_car_emissions
        calculate_car_loan_emis calculate_discount calculate_discounted_price calculate_distance calculate_fibonacci
        calculate_fibonacci_sequence calculate_fuel_cost calculate_fuel_efficiency calculate_gpa
        calculate_gross_salary calculate_interest calculate_loan_emis calculate_loan_payment calculate_mortgage
        calculate_mortgage_payment calculate_percentage calculate_profit_margin calculate_rectangle_area
        calculate_rectangle_perimeter calculate_sales_tax calculate_shipping_cost calculate_tax calculate_taxes
        calculate_tip calculate_tip_percentage calculate_tip_split calculate_vehicle_mileage

        calculator credit_yelp cribbage_scorer tax_calculator
    """,
    "communication": "send_email",
    "scheduling": """
        book_flight book_hotel create_calendar_event create_event create_reminder create_schedule create_task
        create_todo create_todo_list schedule_meeting
    """,
    "file_operations": """
        create_invoice create_note generate_invoice upload_file

        exportchat pdf_exporter
    """,
    "analysis": """
        analyze_fraud_activity analyze_image analyze_sentiment analyze_social_media analyze_social_media_sentiment
        analyze_text analyze_website check_word_count count_words generate_password_strength

        ctcp hackit_web_scanner scene_xplain seoanalysis summarize_anything_pr website_performance_insights
        word_counter
    """,
    AMBIGUOUS: """
        buy_product calculate_route check_availability check_email create_playlist create_user create_user_account
        create_user_profile execute_program find_shortest_path get_random_joke get_upcoming_events get_user_profile
        play_music play_sound track_calories

        book_tool chat_ocr email_by_nylas exchange_tool finance_tool internet_search job_tool
        mixer_box_web_search_g_web_search notes_tool polish_tool reflect_notes restaurant_booking_tool review search
        trip_tool video_summarize_tool
    """,
}

TABLE: dict[str, str] = {name: label for label, names in _NAMES.items() for name in names.split()}

# The first rule that matches decides: the object of a name says more than its verb.
# Case and separators are folded before a rule is tried.
RULES: tuple[tuple[str, str], ...] = (
    (r"(^|_)(calendar|event|reminder|alarm|appointment|meeting|schedule|todo|to_do|task|timer|booking|reservation)",
     "scheduling"),
    (r"^(remind|reserve|book|reschedule)_", "scheduling"),
    (r"^(send|post|reply|notify|call|forward|tweet|message|broadcast|email|share|publish)(_|$)", "communication"),
    (r"^(analy[sz]e|detect|classify|summari[sz]e|evaluate|assess|check_(grammar|spelling|plagiarism)|extract|"
     r"recogni[sz]e|identify|proofread|review)(_|$)", "analysis"),
    (r"sentiment|plagiarism|grammar", "analysis"),
    (r"^(calculate|compute|calc|estimate|solve|sum|add_numbers|multiply|divide)(_|$)|_calculator$", "calculation"),
    (r"^(convert|translate|transform|encode|decode|encrypt|decrypt|format|reverse|resize|parse|compress_(text|image)|"
     r"generate_(qr|barcode|password|random|username|uuid|hash|anagram))", "data_transformation"),
    (r"(^|_)(file|files|folder|directory|document|note|notes|pdf|backup)(_|$)", "file_operations"),
    (r"^(upload|download|save|rename|zip|unzip)(_|$)", "file_operations"),
    (r"^(search|find|get|fetch|lookup|look_up|retrieve|track|query|list|check|browse|recommend|suggest|locate)(_|$)",
     "information_retrieval"),
    (r"(^|_)(weather|forecast|news|headlines|stock|stocks|prices|lyrics)(_|$)|_(search|finder|lookup)$",
     "information_retrieval"),
)  # fmt: skip

_COMPILED = tuple((re.compile(pattern), label) for pattern, label in RULES)


def to_snake_case(function: str) -> str:
    """Return one spelling for ``getStockPrice``, ``get-stock-price`` and ``get_stock_price``."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|[-\s]+", "_", function.strip()).lower()


def apply_rules(function: str) -> tuple[str, str]:
    """Return the label that the rules alone give a name, and the pattern that fired; "" and "" where none does."""
    name = to_snake_case(function)
    return next(((label, pattern.pattern) for pattern, label in _COMPILED if pattern.search(name)), ("", ""))


def decide_intent(function: str) -> tuple[str, str]:
    """Return the kind of tool that ``function`` is, and the rule that decided it.

    Returns:
        (label, rule): ``label`` is one of the eight, :data:`AMBIGUOUS` where the table says that the name fits no
        kind, or "" where nothing matched; ``rule`` is "table", "keyword" and the pattern, or "".
    """
    name = to_snake_case(function)
    # The table first: a person has looked at each of its names, and at none that the rules decide.
    if name in TABLE:
        return TABLE[name], "table"
    label, pattern = apply_rules(name)
    return label, f"keyword {pattern}" if label else ""


_ASKED = r"^\W*((please|can you|could you|would you|hi|hey|i need to|i want to|help me)\W+)*"
_CONVERSION = re.compile(_ASKED + r"(convert|translate|reformat)\b", re.IGNORECASE)
_WORK = re.compile(
    _ASKED + r"(analy[sz]e|arrange|book|calculate|categori[sz]e|classify|compute|correct|count|delete|detect|determine|"
    r"divide|edit|encode|estimate|evaluate|extract|find|identify|modify|multiply|remind|remove|reorder|replace|rewrite|"
    r"round|schedule|search|send|solve|sort|summari[sz]e|transform|what percentage)\b|"
    r"\bhow (many|much)\b(?=.*\d)|\d.*\bhow (many|much)\b",
    re.IGNORECASE | re.DOTALL,
)
# Work on code, or in a program, is what a language model does by itself.
_CODE = re.compile(
    r"(?<!\w)(algorithm|c#|c\+\+|code|excel|function|golang|html|java|javascript|matlab|php|program|python|query|r|ruby|"
    r"scala|script|sql|swift)(?!\w)",
    re.IGNORECASE,
)


def could_need_tool(text: str) -> bool:
    """Return whether a request, by its first verb or its figures, is one that a tool could serve."""
    return bool(_CONVERSION.search(text) or (_WORK.search(text) and not _CODE.search(text)))
